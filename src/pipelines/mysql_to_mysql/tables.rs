//! Tables as the servers describe them, and the task with its tables found.

use crate::error::{Error, Kind, Result};
use crate::sql::{Database, Value, quoted};

use super::config::{Beside, Child, Filter, LookUp, Mapped, Reference, Task};

/// A table of one of the two databases.
#[derive(Debug, Clone)]
pub(super) struct Table {
    pub(super) name: String,
    /// With its database, quoted.
    pub(super) full: String,
    pub(super) columns: Vec<Column>,
}

#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) of: Type,
    pub(super) may_be_null: bool,
    /// Characters of a text, bytes of a long one.
    pub(super) most: Option<usize>,
    /// The server itself fills it.
    is_generated: bool,
}

/// Kinds of columns, by how values are carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Bit,
    Bytes,
    /// At most so many characters.
    Char,
    Float,
    Int,
    Json,
    /// At most so many bytes.
    LongText,
    /// DECIMAL, and whatever has digits after a point.
    Decimal,
    Time,
    /// Shapes; they are not carried.
    Geometry,
    Other,
}

impl Type {
    fn of(name: &str) -> Self {
        match name {
            "bit" => Self::Bit,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Self::Bytes,
            "char" | "varchar" => Self::Char,
            "float" | "double" => Self::Float,
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Self::Int,
            "json" => Self::Json,
            "tinytext" | "text" | "mediumtext" | "longtext" => Self::LongText,
            "decimal" => Self::Decimal,
            "date" | "datetime" | "time" | "timestamp" => Self::Time,
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geometrycollection" | "geomcollection" => Self::Geometry,
            _ => Self::Other,
        }
    }
}

/// A value of a row, as text but for bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    Null,
    Text(String),
    Bytes(Vec<u8>),
}

impl Cell {
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

impl Column {
    /// What a SELECT asks for.
    pub(super) fn read(&self) -> String {
        let name = quoted(&self.name);
        match self.of {
            Type::Bytes => name,
            // As text, a FLOAT has six digits; as a DOUBLE, all of them.
            Type::Float => format!("CAST({name} + 0e0 AS CHAR)"),
            Type::Bit => format!("CAST({name} + 0 AS CHAR)"),
            _ => format!("CAST({name} AS CHAR)"),
        }
    }

    /// A value of it for a placeholder.
    pub(super) fn value<'a>(&self, cell: &'a Cell) -> Value<'a> {
        match cell {
            Cell::Null => Value::Null,
            Cell::Bytes(bytes) => Value::Bytes(bytes),
            Cell::Text(text) => self.of_text(text),
        }
    }

    /// Numbers are compared with numbers, so that an index is of use.
    pub(super) fn of_text<'a>(&self, text: &'a str) -> Value<'a> {
        match self.of {
            Type::Int | Type::Bit => text.parse().map_or(Value::Text(text), Value::Int),
            _ => Value::Text(text),
        }
    }
}

impl Table {
    /// # Errors
    /// When there is no such table.
    pub(super) async fn find(database: &Database, schema: &str, name: &str) -> Result<Self> {
        let sql = "SELECT column_name, data_type, is_nullable, CAST(character_maximum_length AS CHAR), \
                   generation_expression FROM information_schema.columns \
                   WHERE table_schema = ? AND table_name = ? ORDER BY ordinal_position";
        let rows = database.query(sql, &[Value::Text(schema), Value::Text(name)]).await?;
        if rows.is_empty() {
            return Err(Error::new(Kind::NotFound, format!("{} has no table {schema}.{name}", database.server())));
        }
        let mut columns = Vec::with_capacity(rows.len());
        for row in rows {
            columns.push(Column {
                name: row.text(0)?.unwrap_or_default(),
                of: Type::of(&row.text(1)?.unwrap_or_default().to_lowercase()),
                may_be_null: row.text(2)?.as_deref() == Some("YES"),
                most: row.text(3)?.and_then(|most| most.parse().ok()),
                is_generated: row.text(4)?.is_some_and(|expression| !expression.is_empty()),
            });
        }
        let full = format!("{}.{}", quoted(schema), quoted(name));
        Ok(Self { name: name.to_owned(), full, columns })
    }

    /// The place of a column.
    ///
    /// # Errors
    /// When there is none of that name.
    pub(super) fn at(&self, name: &str) -> Result<usize> {
        self.columns.iter().position(|column| column.name == name).ok_or_else(|| {
            Error::settings(format!("The table {} has no column {name}", self.full))
                .hint("Name its columns as they are, or leave a column out with `without`.")
        })
    }

    fn check(&self, name: &str) -> Result<()> {
        self.at(name).map(drop)
    }
}

/// Columns of a table that are read or written together.
#[derive(Debug, Clone)]
pub(super) struct Sheet {
    pub(super) table: Table,
    /// Places in the table.
    pub(super) columns: Vec<usize>,
}

impl Sheet {
    /// Adds a column, if it is not there; returns its place among the columns of the sheet.
    fn add(&mut self, name: &str) -> Result<usize> {
        let at = self.table.at(name)?;
        let place = self.columns.iter().position(|known| *known == at);
        Ok(place.unwrap_or_else(|| {
            self.columns.push(at);
            self.columns.len() - 1
        }))
    }

    pub(super) fn column(&self, place: usize) -> &Column {
        &self.table.columns[self.columns[place]]
    }

    pub(super) fn names(&self) -> Vec<&str> {
        (0..self.columns.len()).map(|place| self.column(place).name.as_str()).collect()
    }

    /// `SELECT a, b FROM t WHERE k IN (`, for a column of the table.
    pub(super) fn select(&self) -> String {
        let read: Vec<String> = (0..self.columns.len()).map(|place| self.column(place).read()).collect();
        format!("SELECT {} FROM {}", read.join(", "), self.table.full)
    }
}

/// A task with its tables.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) task: Task,
    /// What is read of the items.
    pub(super) items: Sheet,
    pub(super) key: usize,
    pub(super) deleted: Option<usize>,
    pub(super) beside: Vec<Side>,
    /// What is written of them; the key is the first column.
    pub(super) target: Sheet,
    /// Where the other columns come from, in their order.
    pub(super) from: Vec<From>,
    pub(super) look_ups: Vec<(LookUp, Sheet)>,
    pub(super) references: Vec<Copied>,
    /// The column of the item that refers, for each.
    pub(super) refers: Vec<usize>,
    pub(super) children: Vec<Copied>,
    /// Tables of filters, by their number.
    pub(super) through: Vec<Option<Table>>,
}

#[derive(Debug)]
pub(super) struct Side {
    /// The parent is the first column.
    pub(super) sheet: Sheet,
    pub(super) deleted: Option<usize>,
    pub(super) order: Option<String>,
}

/// Where a value comes from.
#[derive(Debug)]
pub(super) struct From {
    pub(super) mapped: Mapped,
    /// Number of the table beside, or the item itself.
    pub(super) side: Option<usize>,
    /// Of its sheet; none for a constant.
    pub(super) place: Option<usize>,
    pub(super) look_up: Option<usize>,
}

/// A table whose rows go over as they are.
#[derive(Debug)]
pub(super) struct Copied {
    /// With one column more than the target's where rows can be deleted.
    pub(super) source: Sheet,
    pub(super) target: Sheet,
    /// Places in both sheets.
    pub(super) key: usize,
    pub(super) parent: Option<usize>,
    pub(super) deleted: Option<usize>,
}

impl Plan {
    /// # Errors
    /// When a table or a column is not there, or the task does not make sense.
    pub(super) async fn find(task: Task, source: (&Database, &str), target: (&Database, &str)) -> Result<Self> {
        let of_source = async |name: &str| Table::find(source.0, source.1, name).await.map_err(look_at_source);
        let of_target = async |name: &str| Table::find(target.0, target.1, name).await.map_err(look_at_target);
        let mut items = Sheet { table: of_source(&task.source).await?, columns: Vec::new() };
        let key = items.add(&task.key)?;
        let deleted = task.deleted.as_deref().map(|name| items.add(name)).transpose()?;
        let mut through = Vec::new();
        for Filter { column, through: via, .. } in &task.filters {
            items.table.check(column)?;
            through.push(match via {
                None => None,
                Some(via) => {
                    let table = of_source(&via.table).await?;
                    table.check(&via.key)?;
                    table.check(&via.column)?;
                    Some(table)
                }
            });
        }
        let mut beside = Vec::new();
        for Beside { table, parent, order, deleted, .. } in &task.beside {
            let mut sheet = Sheet { table: of_source(table).await?, columns: Vec::new() };
            sheet.add(parent)?;
            let deleted = deleted.as_deref().map(|name| sheet.add(name)).transpose()?;
            if let Some(order) = order {
                sheet.table.check(order)?;
            }
            beside.push(Side { sheet, deleted, order: order.clone() });
        }
        let mut goal = Sheet { table: of_target(&task.target).await?, columns: Vec::new() };
        goal.add(&task.target_key)?;
        let (mut from, mut look_ups) = (Vec::new(), Vec::<(LookUp, Sheet)>::new());
        for mapped in &task.columns {
            if goal.add(&mapped.name)? != from.len() + 1 {
                return Err(Error::settings(format!("The column {} is named twice in the task", mapped.name)));
            }
            let side = mapped.of.as_ref().map(|name| side_of(&task, name)).transpose()?;
            let sheet = side.map_or(&mut items, |side| &mut beside[side].sheet);
            let place = mapped.column.as_deref().map(|name| sheet.add(name)).transpose()?;
            if place.is_some() == mapped.constant.is_some() {
                return Err(Error::settings(format!("The column {} needs a column or a constant", mapped.name)));
            }
            let look_up = match &mapped.look_up {
                None => None,
                Some(wanted) => {
                    let known = look_ups.iter().position(|(known, _)| known == wanted);
                    if known.is_none() {
                        let mut sheet = Sheet { table: of_target(&wanted.table).await?, columns: Vec::new() };
                        sheet.add(&wanted.name)?;
                        sheet.add(&wanted.id)?;
                        look_ups.push((wanted.clone(), sheet));
                    }
                    Some(known.unwrap_or(look_ups.len() - 1))
                }
            };
            from.push(From { mapped: mapped.clone(), side, place, look_up });
        }
        let (mut references, mut refers) = (Vec::new(), Vec::new());
        for Reference { source, target, key, column, deleted, without } in &task.references {
            refers.push(items.add(column)?);
            let tables = (of_source(source).await?, of_target(target).await?);
            references.push(copied(tables, key, None, deleted.as_deref(), without)?);
        }
        let mut children = Vec::new();
        for Child { source, target, key, parent, deleted, without } in &task.children {
            let tables = (of_source(source).await?, of_target(target).await?);
            children.push(copied(tables, key, Some(parent), deleted.as_deref(), without)?);
        }
        let sheets = beside.iter().map(|side| &side.sheet).chain([&items, &goal]);
        let sheets = sheets.chain(references.iter().chain(&children).map(|copied| &copied.source));
        for sheet in sheets {
            if let Some(place) = (0..sheet.columns.len()).find(|place| sheet.column(*place).of == Type::Geometry) {
                let name = &sheet.column(place).name;
                return Err(Error::settings(format!("The column {name} of {} is a shape", sheet.table.full))
                    .hint("Shapes are not carried: leave it out with `without`."));
            }
        }
        Ok(Self {
            task,
            items,
            key,
            deleted,
            beside,
            target: goal,
            from,
            look_ups,
            references,
            refers,
            children,
            through,
        })
    }
}

fn side_of(task: &Task, name: &str) -> Result<usize> {
    let found = task.beside.iter().position(|side| side.name == name);
    found.ok_or_else(|| Error::settings(format!("The task has no table {name:?} beside its items")))
}

fn copied(
    (source, target): (Table, Table),
    key: &str,
    parent: Option<&str>,
    deleted: Option<&str>,
    without: &[String],
) -> Result<Copied> {
    let mut from = Sheet { table: source, columns: Vec::new() };
    let mut to = Sheet { table: target, columns: Vec::new() };
    for name in without {
        from.table.check(name)?;
    }
    let is_copied = |column: &&Column| !without.contains(&column.name) && !column.is_generated;
    let names: Vec<String> = from.table.columns.iter().filter(is_copied).map(|column| column.name.clone()).collect();
    for name in &names {
        from.add(name)?;
        to.add(name)?;
    }
    let place = |name: &str| {
        names
            .iter()
            .position(|known| known == name)
            .ok_or_else(|| Error::settings(format!("The column {name} of {} has to be copied", from.table.full)))
    };
    let (key, parent) = (place(key)?, parent.map(place).transpose()?);
    let deleted = deleted.map(|name| from.add(name)).transpose()?;
    Ok(Copied { source: from, target: to, key, parent, deleted })
}

fn look_at_source(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => error.hint("Look at source_database, and at the tables that the task names."),
        _ => error,
    }
}

fn look_at_target(error: Error) -> Error {
    match error.kind() {
        Kind::NotFound => error.hint(
            "`pipeline-core init-db mysql-to-mysql` makes the tables of nfsc_task; else look at target_database, and at \
             the tables that the task names.",
        ),
        _ => error,
    }
}
