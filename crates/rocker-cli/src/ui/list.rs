//! `--format` of the commands that list things.

use rocker_types::is_plain;
use serde_json::{Map, Value};

use super::table;
use crate::report;
use crate::template::{self, Template, TemplateError};

/// One column that a listing can show: docker's field name and the header above it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) field: &'static str,
    pub(crate) header: &'static str,
}

impl Column {
    pub(crate) const fn new(field: &'static str, header: &'static str) -> Self {
        Self { field, header }
    }
}

/// What a listing consists of, whatever the format.
///
/// Each row is an object of docker's template fields. `shown` are the columns of the plain
/// table, `hidden` the ones that only a template reaches.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    pub(crate) shown: &'a [Column],
    pub(crate) hidden: &'a [Column],
    pub(crate) rows: Vec<Value>,
    /// The field that `--quiet` prints.
    pub(crate) key: &'static str,
    /// The field that `--format names` prints.
    pub(crate) name: &'static str,
    /// Whether a table begins with its headers.
    pub(crate) headings: bool,
}

/// How to print it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListFormat<'a> {
    Quiet,
    Table,
    TableOf(&'a str),
    /// The table with the columns that only a template reaches otherwise.
    Wide,
    Json,
    JsonArray,
    Csv,
    Names,
    Each(&'a str),
}

impl<'a> ListFormat<'a> {
    /// Reads `--quiet` and `--format`; quiet wins and says so, as in docker.
    pub(crate) fn new(quiet: bool, format: Option<&'a str>) -> Self {
        match format {
            Some(text) if quiet && !text.is_empty() => {
                report::note(
                    "WARNING: Ignoring custom format, because both --format and --quiet are set.",
                );
                Self::Quiet
            }
            _ if quiet => Self::Quiet,
            None | Some("" | "table") => Self::Table,
            Some("wide") => Self::Wide,
            Some("json") => Self::Json,
            Some("json-array") => Self::JsonArray,
            Some("csv") => Self::Csv,
            Some("names") => Self::Names,
            Some(text) => match text.strip_prefix("table ") {
                Some(template) => Self::TableOf(template.trim_start()),
                None => Self::Each(text),
            },
        }
    }
}

impl Listing<'_> {
    /// The whole text, ready to print.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] of the template in `--format`.
    pub(crate) fn render(&self, format: ListFormat<'_>) -> Result<String, TemplateError> {
        match format {
            ListFormat::Quiet => Ok(self.lines(|row| cell(row, self.key))),
            ListFormat::Names => Ok(self.lines(|row| cell(row, self.name))),
            ListFormat::Json => Ok(self.lines(|row| plain(row).to_string())),
            ListFormat::JsonArray => {
                let rows: Vec<Value> = self.rows.iter().map(plain).collect();
                Ok(Value::Array(rows).to_string() + "\n")
            }
            ListFormat::Csv => Ok(self.plain(&|c| is_plain(c) || c == '\n').csv()),
            ListFormat::Table => Ok(self.plain(&is_plain).table(self.shown.iter())),
            ListFormat::Wide => Ok(self.plain(&is_plain).table(self.columns())),
            ListFormat::TableOf(text) => self.plain(&is_plain).table_of(text),
            ListFormat::Each(text) => self.each(text),
        }
    }

    /// The same without what a terminal would obey: some cells are an image's words.
    fn plain(&self, is_kept: &dyn Fn(char) -> bool) -> Self {
        let rows = self.rows.iter();
        Self {
            rows: rows.map(|row| plain_text(row, is_kept)).collect(),
            ..*self
        }
    }

    fn lines(&self, line: impl Fn(&Value) -> String) -> String {
        self.rows.iter().map(|row| line(row) + "\n").collect()
    }

    /// All columns, each once.
    fn columns(&self) -> impl Iterator<Item = &Column> + Clone {
        let is_shown = |hidden: &&Column| self.shown.iter().any(|c| c.field == hidden.field);
        let more = self.hidden.iter().filter(move |hidden| !is_shown(hidden));
        self.shown.iter().chain(more)
    }

    fn table<'c>(&self, columns: impl Iterator<Item = &'c Column> + Clone) -> String {
        let header = columns.clone().map(|c| c.header.to_owned()).collect();
        let cells = |row: &Value| columns.clone().map(|c| cell(row, c.field)).collect();
        let rows: Vec<Vec<String>> = Some(header)
            .filter(|_| self.headings)
            .into_iter()
            .chain(self.rows.iter().map(cells))
            .collect();
        table::layout(&rows)
    }

    /// As RFC 4180 has it, but for lines that end as they do everywhere here. The fields' names are
    /// the headers: they are what a program knows from the other formats.
    fn csv(&self) -> String {
        let line = |cells: Vec<String>| {
            let quoted: Vec<String> = cells.iter().map(|cell| csv_cell(cell)).collect();
            quoted.join(",") + "\n"
        };
        let header = self.columns().map(|c| c.field.to_owned()).collect();
        let cells = |row: &Value| self.columns().map(|c| cell(row, c.field)).collect();
        Some(header)
            .filter(|_| self.headings)
            .into_iter()
            .chain(self.rows.iter().map(cells))
            .map(line)
            .collect()
    }

    /// `table {{.ID}}\t{{.Names}}`: the header is the same template over the headers.
    fn table_of(&self, text: &str) -> Result<String, TemplateError> {
        let template = Template::parse(&unescape(text))?;
        let columns = self.shown.iter().chain(self.hidden);
        let headers: Map<String, Value> = columns
            .map(|c| (c.field.to_owned(), Value::from(c.header)))
            .chain([("_Labels".to_owned(), Value::Object(Map::new()))])
            .collect();
        let mut rows = cells(&template.render(&Value::Object(headers))?);
        if !self.headings {
            rows.clear();
        }
        for row in &self.rows {
            rows.extend(cells(&template.render(row)?));
        }
        Ok(table::layout(&rows))
    }

    fn each(&self, text: &str) -> Result<String, TemplateError> {
        let template = Template::parse(&unescape(text))?;
        if self.rows.is_empty() {
            // A misspelt field is an error even while there is nothing to list.
            let columns = self.shown.iter().chain(self.hidden);
            let blank: Map<String, Value> = columns
                .map(|c| (c.field.to_owned(), Value::from("")))
                .chain([("_Labels".to_owned(), Value::Object(Map::new()))])
                .collect();
            match template.render(&Value::Object(blank)) {
                Err(error @ TemplateError::UnknownField { .. }) => return Err(error),
                Err(_) | Ok(_) => return Ok(String::new()),
            }
        }
        let mut out = String::new();
        for row in &self.rows {
            out.push_str(&template.render(&sorted(row))?);
            out.push('\n');
        }
        Ok(out)
    }
}

fn cell(row: &Value, field: &str) -> String {
    match row.get(field) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

fn plain_text(value: &Value, is_kept: &dyn Fn(char) -> bool) -> Value {
    let plain = |value| plain_text(value, is_kept);
    match value {
        Value::String(text) => text.replace(|c| !is_kept(c), " ").into(),
        Value::Array(values) => values.iter().map(plain).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), plain(value)))
                .collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn csv_cell(text: &str) -> String {
    match text.contains(['"', ',', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Docker's JSON objects have sorted keys.
fn sorted(row: &Value) -> Value {
    let mut row = row.clone();
    if let Value::Object(object) = &mut row {
        object.sort_keys();
    }
    row
}

/// What JSON shows of a row: no fields that exist for templates alone.
fn plain(row: &Value) -> Value {
    template::without_hidden(&sorted(row))
}

fn cells(rendered: &str) -> Vec<Vec<String>> {
    rendered
        .split('\n')
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

/// A shell's single quotes leave `\t` as two characters; docker reads it as a tab.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SHOWN: &[Column] = &[
        Column::new("ID", "CONTAINER ID"),
        Column::new("Names", "NAMES"),
    ];

    fn listing() -> Listing<'static> {
        Listing {
            shown: SHOWN,
            hidden: const { &[Column::new("Image", "IMAGE")] },
            rows: vec![
                json!({"Names": "web", "ID": "4c01db0b339c", "Image": "nginx", "_Labels": {"a": "1"}}),
                json!({"Names": "db", "ID": "d7886598dbe2", "Image": "pg", "_Labels": {}}),
            ],
            key: "ID",
            name: "Names",
            headings: true,
        }
    }

    #[test]
    fn every_format_prints_what_docker_prints() {
        let cases = [
            (
                None,
                "CONTAINER ID   NAMES\n4c01db0b339c   web\nd7886598dbe2   db\n",
            ),
            (
                Some("table"),
                "CONTAINER ID   NAMES\n4c01db0b339c   web\nd7886598dbe2   db\n",
            ),
            (Some("{{.Names}}:{{.Image}}"), "web:nginx\ndb:pg\n"),
            (
                Some("table {{.Image}}\\t{{.ID}}"),
                "IMAGE     CONTAINER ID\nnginx     4c01db0b339c\npg        d7886598dbe2\n",
            ),
            (
                Some("json"),
                "{\"ID\":\"4c01db0b339c\",\"Image\":\"nginx\",\"Names\":\"web\"}\n{\"ID\":\"d7886598dbe2\",\"Image\":\"pg\",\"Names\":\"db\"}\n",
            ),
            (
                Some("{{json .}}"),
                "{\"ID\":\"4c01db0b339c\",\"Image\":\"nginx\",\"Names\":\"web\"}\n{\"ID\":\"d7886598dbe2\",\"Image\":\"pg\",\"Names\":\"db\"}\n",
            ),
            (
                Some("json-array"),
                "[{\"ID\":\"4c01db0b339c\",\"Image\":\"nginx\",\"Names\":\"web\"},{\"ID\":\"d7886598dbe2\",\"Image\":\"pg\",\"Names\":\"db\"}]\n",
            ),
            (
                Some("wide"),
                "CONTAINER ID   NAMES     IMAGE\n4c01db0b339c   web       nginx\nd7886598dbe2   db        pg\n",
            ),
            (
                Some("csv"),
                "ID,Names,Image\n4c01db0b339c,web,nginx\nd7886598dbe2,db,pg\n",
            ),
            (Some("names"), "web\ndb\n"),
            (Some("{{.Label \"a\"}}"), "1\n\n"),
            (Some("x"), "x\nx\n"),
        ];
        for (format, expected) in cases {
            let rendered = listing().render(ListFormat::new(false, format));
            assert_eq!(rendered.as_deref(), Ok(expected), "--format {format:?}");
        }
    }

    #[test]
    fn cells_of_csv_are_quoted_where_they_have_to_be() {
        let rows = vec![
            json!({"ID": "1", "Names": "a,b", "Image": "say \"x\"\ny"}),
            json!({"ID": "2"}),
        ];
        let listing = Listing { rows, ..listing() };
        let csv = listing.render(ListFormat::Csv);
        assert_eq!(
            csv.as_deref(),
            Ok("ID,Names,Image\n1,\"a,b\",\"say \"\"x\"\"\ny\"\n2,,\n")
        );
        let none = Listing {
            rows: Vec::new(),
            ..listing
        };
        assert_eq!(none.render(ListFormat::JsonArray).as_deref(), Ok("[]\n"));
    }

    #[test]
    fn an_images_words_are_shown_and_not_obeyed() {
        let labels = json!({"a": "x\u{1b}[2J\ny\u{202e}z"});
        let row = json!({"ID": "1", "Names": "n", "Image": "a=x\u{1b}[2J\ny\u{202e}z", "_Labels": labels});
        let listing = Listing {
            rows: vec![row],
            headings: false,
            ..listing()
        };
        for (format, expected) in [
            ("wide", "1         n         a=x [2J y z\n"),
            ("csv", "1,n,\"a=x [2J\ny z\"\n"),
            ("table {{.Label \"a\"}}", "x [2J y z\n"),
            // who asks for the field itself gets it
            ("{{.Label \"a\"}}", "x\u{1b}[2J\ny\u{202e}z\n"),
        ] {
            let rendered = listing.render(ListFormat::new(false, Some(format)));
            assert_eq!(rendered.as_deref(), Ok(expected), "{format}");
        }
    }

    #[test]
    fn quiet_prints_the_key_alone_and_wins_over_format() {
        let rendered = listing().render(ListFormat::new(true, Some("json")));
        assert_eq!(rendered.as_deref(), Ok("4c01db0b339c\nd7886598dbe2\n"));
    }

    #[test]
    fn a_misspelt_field_is_an_error_with_and_without_rows() {
        for rows in [listing().rows, Vec::new()] {
            let empty = Listing { rows, ..listing() };
            assert!(empty.render(ListFormat::Each("{{.Nmaes}}")).is_err());
            assert!(empty.render(ListFormat::TableOf("{{.Nmaes}}")).is_err());
        }
    }
}
