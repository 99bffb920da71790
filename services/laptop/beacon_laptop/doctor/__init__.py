"""`beacon doctor`: what is wrong with this machine, this state and this cluster, and the command that mends it."""
