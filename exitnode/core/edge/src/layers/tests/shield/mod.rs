mod serving;
mod sharing;
mod stage;
