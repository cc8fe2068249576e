"""DiffShortcut: does a protection against personalized diffusion survive a defense?"""

__version__ = "0.1.0"
