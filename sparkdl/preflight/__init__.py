"""Every refusal before a rank starts: contradictions of settings, what the rows cannot be, what the cluster lacks."""
