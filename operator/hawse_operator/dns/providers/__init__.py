"""Servers that are told what to answer: one a file, all with the face of base.Provider."""
