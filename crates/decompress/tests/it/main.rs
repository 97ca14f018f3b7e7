//! The crate from outside: real streams, hostile ones, limits, properties.

#[cfg(test)]
mod archives;
#[cfg(test)]
mod common;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod properties;
