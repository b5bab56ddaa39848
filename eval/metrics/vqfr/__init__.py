"""The metrics Deg and LMD of VQFR (Gu et al., ECCV 2022), on weight files that the user names."""
