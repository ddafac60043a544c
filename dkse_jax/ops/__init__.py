"""The arithmetic, in a plain lax form and a fast form side by side."""
