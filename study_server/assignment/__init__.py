"""Who judges which pair next: pure policies, leases, and the statements that make them exact."""
