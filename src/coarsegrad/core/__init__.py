"""The pair: quantizers have levels, surrogates have a slope, `through` joins them."""
