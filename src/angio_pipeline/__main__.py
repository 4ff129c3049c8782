"""`python -m angio_pipeline` is `angio`."""

from angio_pipeline.cli.main import main

if __name__ == "__main__":
    main()
