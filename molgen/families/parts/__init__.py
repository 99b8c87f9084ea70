"""What families share: packed elements, likelihoods, latents, sizes, grammar."""
