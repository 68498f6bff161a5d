"""Adds one thing to pyproject.toml, which can't say it: configs/ is installed as the package's folder nmt/configs/."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["nmt", "nmt.*"]), "nmt.configs"], package_dir={"nmt.configs": "configs"})
