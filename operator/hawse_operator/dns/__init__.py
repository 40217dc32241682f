"""What DNS answers: weights, plan, Lua and ownership are pure; providers carry it out. Called by reconcile.dns."""
