"""The stages of `mirror fix`, `rollback` and `attach`, each in its own module.

`plan` collects evidence, lets each fix decide and returns a RepairPlan. It creates probe pods and
node agents, nothing else. `apply` refuses or takes that plan through the other stages and returns
a RepairResult: `write` applies the updates as the only writer, after `corefile_trial` has started
CoreDNS with the new text; `coredns_reload` makes CoreDNS load it; `prove` waits for the effect and
runs doctor's checks; `rollback` restores a failed fix; `restart` restarts workloads that keep
IPv6. `reconciler` and `node_agents` keep applied fixes in place, `attach` changes single workloads.
"""
