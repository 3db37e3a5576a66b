from tests.runs import adversarial, folder, options  # noqa: F401  (fixtures)
