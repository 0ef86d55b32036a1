"""Pictures of what a fit or a search did, by scikit-learn's convention."""
