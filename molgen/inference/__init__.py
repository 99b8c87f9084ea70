"""From a request to rows: generating, scoring, encoding."""
