"""The ops, each in a plain lax form and a fast form."""
