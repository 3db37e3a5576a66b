"""The commands of `aesop plot`: a figure each."""
