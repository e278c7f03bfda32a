"""The flavor "python_function" of our models: predicts on pandas with torch alone, no Spark session.

MLflow finds `_load_pyfunc` here by the module's name, which stands in the MLmodel file of every logged model.
"""
