"""A stand-in for Pulumi's AWS provider: the `aws:` types that holdfast declares, against moto and never against AWS.

Every type is one row of a table (`tables/`): which call creates, reads, changes and deletes it, and how Pulumi's
properties and the API's fields map onto each other. `operations` executes rows, `provider` speaks to the engine. A
type without a row is refused with a list of those that have one. For a real account, install Pulumi's own
provider: the same programs then run against AWS.
"""
