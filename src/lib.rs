pub mod protocol;
pub mod terminal;
