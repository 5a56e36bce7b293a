//! A schedule as a line of a plain crontab, which knows less than our expressions do.
//!
//! What cron cannot say (the last day, the last Friday, the second Monday) becomes the days on which it may be, and a
//! test of the date before the command.

/// The five fields for a crontab, and a shell condition that must hold on the day.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    pub(crate) fields: String,
    pub(crate) only_if: Option<String>,
}

/// `None` where no line can say it.
pub(crate) fn plain(cron: &str, zone: &str) -> Option<Plain> {
    let fields: Vec<&str> = cron.split_whitespace().collect();
    let &[minute, hour, day, month, weekday] = fields.as_slice() else {
        // `@daily` and its like are cron's own.
        return Some(Plain {
            fields: cron.to_owned(),
            only_if: None,
        });
    };
    // `%` begins the standard input in a crontab.
    let date = |of: &str, format: &str| format!("$(TZ={zone} date -d {of} +\\%{format})");
    let (day, weekday, only_if) = if day == "L" && weekday == "*" {
        let tomorrow = date("tomorrow", "d");
        (
            "28-31",
            "*".to_owned(),
            Some(format!("[ \"{tomorrow}\" = 01 ]")),
        )
    } else if let (Some(of), "*") = (weekday.strip_suffix('L').and_then(one_day), day) {
        let (week, now) = (date("'7 days'", "m"), date("now", "m"));
        ("*", of, Some(format!("[ \"{week}\" != \"{now}\" ]")))
    } else if let (Some((of, nth)), "*") = (nth_day(weekday), day) {
        let now = date("now", "e");
        let is = format!("[ $(( ({now} - 1) / 7 + 1 )) = {nth} ]");
        ("*", of, Some(is))
    } else if [day, weekday]
        .iter()
        .any(|field| field.contains(['L', '#', 'W']))
    {
        return None;
    } else {
        (day, weekday.to_owned(), None)
    };
    Some(Plain {
        fields: format!("{minute} {hour} {day} {month} {weekday}"),
        only_if,
    })
}

/// One day of the week, as cron says it.
fn one_day(text: &str) -> Option<String> {
    let known = matches!(text, "0" | "1" | "2" | "3" | "4" | "5" | "6" | "7")
        || ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
            .iter()
            .any(|day| day.eq_ignore_ascii_case(text));
    known.then(|| text.to_owned())
}

/// `1#2`: the second Monday.
fn nth_day(text: &str) -> Option<(String, u8)> {
    let (day, nth) = text.split_once('#')?;
    let nth = nth.parse().ok().filter(|nth| (1..=5).contains(nth))?;
    Some((one_day(day)?, nth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cron_knows_stays_as_it_is() {
        for cron in [
            "30 2 * * *",
            "*/15 9-17 * * 1-5",
            "0 0 1 1 *",
            "@daily",
            "0 5 * * MON",
        ] {
            let line = plain(cron, "Europe/Berlin").unwrap();
            assert_eq!((line.fields.as_str(), line.only_if), (cron, None));
        }
    }

    #[test]
    fn what_it_does_not_know_becomes_a_test_of_the_date() {
        let line = |cron| plain(cron, "Europe/Berlin").unwrap();
        let last = line("0 3 L * *");
        assert_eq!(last.fields, "0 3 28-31 * *");
        assert_eq!(
            last.only_if.unwrap(),
            "[ \"$(TZ=Europe/Berlin date -d tomorrow +\\%d)\" = 01 ]"
        );
        let friday = line("0 3 * * 5L");
        assert_eq!(friday.fields, "0 3 * * 5");
        assert!(friday.only_if.unwrap().contains("7 days"));
        let second = line("15 6 * * 1#2");
        assert_eq!(second.fields, "15 6 * * 1");
        assert!(second.only_if.unwrap().ends_with("= 2 ]"));
    }

    #[test]
    fn what_no_line_can_say_gives_none() {
        for cron in [
            "0 3 15W * *",
            "0 3 L * 1",
            "0 3 1,L * *",
            "0 3 * * 1#2,5L",
            "0 3 * * 1#9",
        ] {
            assert_eq!(plain(cron, "UTC"), None, "{cron}");
        }
    }
}
