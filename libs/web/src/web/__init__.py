"""What every page and endpoint needs: who asks, forms, layout, translations, errors, live parts."""
