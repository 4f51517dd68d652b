"""A simulated farm of BigBlueButton servers: one process, many nodes, seeded and deterministic.

``python -m dev.farm --nodes 5`` starts one; :class:`dev.farm.process.Farm` does it for tests and demos. The farm is an
independent second opinion about the BBB API: nothing here imports from package ``b3lb``.
"""
