"""What is measured of one scene: a panel each for distribution, style, copying and so on."""
