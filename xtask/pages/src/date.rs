//! The date in the pages: that of `SOURCE_DATE_EPOCH`, else today.

use std::env;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

const SECONDS_A_DAY: u64 = 86_400;

/// Returns the date as `YYYY-MM-DD`.
///
/// # Errors
///
/// `SOURCE_DATE_EPOCH` is no number.
pub(crate) fn of_build() -> Result<String> {
    let seconds = match env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().context("SOURCE_DATE_EPOCH is no number")?,
        Err(_) => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    Ok(shown(seconds))
}

fn shown(seconds: u64) -> String {
    let mut day = seconds / SECONDS_A_DAY;
    let mut year = 1970;
    while day >= days_of_year(year) {
        day -= days_of_year(year);
        year += 1;
    }
    let february = days_of_year(year) - 337;
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    format!("{year}-{month:02}-{:02}", day + 1)
}

fn days_of_year(year: u64) -> u64 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    365 + u64::from(is_leap)
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn dates_are_those_of_date() {
        assert_eq!(shown(0), "1970-01-01");
        assert_eq!(shown(951_782_400), "2000-02-29");
        assert_eq!(shown(951_868_800), "2000-03-01");
        assert_eq!(shown(1_796_083_199), "2026-11-30");
        assert_eq!(shown(4_102_444_799), "2099-12-31");
    }
}
