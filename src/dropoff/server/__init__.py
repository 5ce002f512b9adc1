"""The parts wired together: adapters opened by their address, roles, the web application, the process that serves."""
