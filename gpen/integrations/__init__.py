"""GPEN in other programs. Each module needs the program it is for; gpen itself needs none of them."""
