//! The checks behind the fuzz targets of this directory.

pub mod checks;
