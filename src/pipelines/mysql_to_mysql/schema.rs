//! The target's tables of `nfsc_task`.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use crate::error::Result;
use crate::sql::{Database, Server, Value, quoted};

/// What `init_db` found and made.
#[derive(Debug, Default, Serialize)]
pub struct Made {
    pub server: String,
    pub database: String,
    pub created: Vec<String>,
    pub statements: Vec<String>,
}

/// The columns that every table of the original has.
const ALL_HAVE: &str = "is_del TINYINT NOT NULL DEFAULT 0, \
     update_time DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
     create_time DATETIME NOT NULL DEFAULT CURRENT_TIMESTAMP";

/// Names and columns; in this order they may refer to each other.
const TABLES: [(&str, &str); 5] = [
    (
        "nfsc_resource_source",
        "source_id VARCHAR(64) NOT NULL, source_name JSON NULL, source_main_link VARCHAR(500) NULL, \
         source_description_image JSON NULL, source_intro TEXT NULL, {all}, UNIQUE KEY source_id (source_id)",
    ),
    (
        "nfsc_info_type",
        "info_type_id INT NOT NULL, info_type_name VARCHAR(255) NOT NULL, info_type_description TEXT NULL, {all}, \
         UNIQUE KEY info_type_id (info_type_id), KEY info_type_name (info_type_name)",
    ),
    (
        "nfsc_project_type",
        "project_type_id INT NOT NULL, project_type_name VARCHAR(255) NOT NULL, project_type_description TEXT NULL, \
         {all}, UNIQUE KEY project_type_id (project_type_id)",
    ),
    (
        "nfsc_info_list",
        "info_id VARCHAR(64) NOT NULL, info_type_id INT NOT NULL, project_type_id INT NULL, \
         source_id VARCHAR(64) NULL, province_id INT NULL, info_name VARCHAR(1000) NOT NULL, \
         info_academic_field VARCHAR(255) NULL, original_link VARCHAR(1000) NULL, publish_time DATE NULL, {all}, \
         UNIQUE KEY info_id (info_id), KEY source_id (source_id)",
    ),
    (
        "nfsc_information_section_list",
        "section_id VARCHAR(64) NOT NULL, information_id VARCHAR(64) NOT NULL, section_order INT NULL, \
         section_attr VARCHAR(16) NULL DEFAULT '0', title_level INT NULL DEFAULT 0, marc_code VARCHAR(16) NULL, \
         src_text JSON NULL, dst_text JSON NULL, media_info TEXT NULL, md5_encode VARCHAR(64) NULL, {all}, \
         UNIQUE KEY section_id (section_id), KEY information_id (information_id)",
    ),
];

/// Makes what is missing; what is there stays as it is.
///
/// # Errors
/// When the server cannot be reached or refuses.
pub async fn init_db(config: &Config, stop: &CancellationToken) -> Result<Made> {
    let server = config.target.server();
    let database = Database::connect(Server::MySql(&server), super::session(config), stop).await?;
    let mut made = Made { server: database.server(), database: config.target.database.clone(), ..Made::default() };
    let outcome = make_all(&database, &config.target.database, &mut made).await;
    database.close().await;
    outcome.map(|()| made)
}

async fn make_all(database: &Database, schema: &str, made: &mut Made) -> Result<()> {
    let sql = "SELECT 1 FROM information_schema.schemata WHERE schema_name = ?";
    if database.query(sql, &[Value::Text(schema)]).await?.is_empty() {
        let sql = format!(
            "CREATE DATABASE IF NOT EXISTS {} DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
            quoted(schema)
        );
        make(database, schema.to_owned(), sql, made).await?;
    }
    for (name, columns) in TABLES {
        let sql = "SELECT 1 FROM information_schema.tables WHERE table_schema = ? AND table_name = ?";
        if database.query(sql, &[Value::Text(schema), Value::Text(name)]).await?.is_empty() {
            let columns = columns.replace("{all}", ALL_HAVE);
            let sql = format!(
                "CREATE TABLE IF NOT EXISTS {}.{} (list_id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY, {columns}) \
                 ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci",
                quoted(schema),
                quoted(name)
            );
            make(database, format!("{schema}.{name}"), sql, made).await?;
        }
    }
    Ok(())
}

async fn make(database: &Database, name: String, sql: String, made: &mut Made) -> Result<()> {
    database.execute(&sql).await?;
    tracing::info!(statement = sql, "changed the database");
    made.created.push(name);
    made.statements.push(sql);
    Ok(())
}
