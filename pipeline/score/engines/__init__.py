"""Ways to run a bundle's network, each sealed against eager float32 before it is used."""
