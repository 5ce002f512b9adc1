"""What is not analytics: keys, logins, leases, saved filters. A port and its adapters."""
