"""Gates hold releases to reviewed limits; a planted leak and a planted cycle prove that a gate can fail."""
