"""The contract: every topic and every record. Imports nothing else of ours."""
