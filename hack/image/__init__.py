"""The operator's image, built without a container engine and without a registry.

``__main__`` is the command (``make image``); ``tools`` finds buildah, ``base`` makes base images from Debian's
packages, ``archive`` reads what was built, ``sbom`` runs inside the build. The Dockerfile itself builds with any engine.
"""
