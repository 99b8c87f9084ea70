"""What families share: packed elements, what is known of them, likelihoods, latents, sizes, grammar."""
