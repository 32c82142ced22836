"""Does a backbone go all the way: plan, compress, forward, backward, materialize, save, load."""
