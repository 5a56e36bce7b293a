//! Services: tried before they replace anything, watched, started anew, reached where they say.
