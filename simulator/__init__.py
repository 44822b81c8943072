"""A mailbox provider that runs on this machine: what demo, tests and benches mail to.

In this process: `simulator.server.MailboxSimulator`. As a process of its own: `python -m simulator`,
or `simulator.process.SimulatorProcess`. How it misbehaves: `simulator.rules`; what it is:
`simulator.settings`; what it took: `simulator.record`.
"""
