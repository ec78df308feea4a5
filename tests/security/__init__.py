"""Services behind locks: TLS, passwords, certificates, access rights."""
