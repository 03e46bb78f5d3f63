"""Do settings and manifests agree? Holds the numbers of rendered Kubernetes manifests against the service's settings.

    kubectl kustomize k8s/overlays/prod | .venv/bin/python -m tools.manifests

A tool of the checkout and no command of the service: the manifests are in the checkout too, and the service needs no
YAML. What a setting is when nobody sets it comes from the service itself.
"""
