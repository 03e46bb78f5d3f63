"""How fast a service answers: a load generator that tells the truth, and what is made of its figures."""
