"""What can be asked of identity: one plain function each, in one transaction, that never commits.

``sign_in`` counts attempts, opens and renews sessions and makes API tokens; ``sessions`` ends them;
``accounts`` and ``centres`` say who there is; ``keys`` keeps the signing keys in turn; ``first`` is
what a first start does.
"""
