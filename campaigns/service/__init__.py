"""The HTTP service: the verbs of `campaigns.Campaign` for several people and machines. `stackpress serve` starts it."""
