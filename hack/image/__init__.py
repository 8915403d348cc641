"""The operator's image, built without a container engine and without a registry.

``__main__`` is the command (``make image``), ``build`` what it does; ``tools`` finds buildah, ``base`` makes base
images from Debian's packages, ``archive`` reads what was built, ``sbom`` runs inside. Any engine builds the Dockerfile.
"""
