//! The columns of the four tables: name, type, and the path in an order's JSON.
//!
//! A path of the order table begins at the order, the line (`line.`), the line's first charge (`charge.`) or its first
//! status (`status.`). Several columns may have one path. Names and types are the contract's.

use Type::{BigInt, DateTime, Decimal, Int, Json, Text, Timestamp, Varchar};

/// A column's type in `MySQL`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    BigInt,
    Int,
    Varchar(usize),
    Text,
    /// DECIMAL(10,2)
    Decimal,
    Timestamp,
    DateTime,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    pub of: Type,
    pub path: &'static str,
}

const fn c(name: &'static str, of: Type, path: &'static str) -> Column {
    Column { name, of, path }
}

/// One of the tables that an order goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    Order,
    Charge,
    Status,
    Refund,
}

impl Table {
    pub const ALL: [Self; 4] = [Self::Order, Self::Charge, Self::Status, Self::Refund];

    #[must_use]
    pub fn columns(self) -> &'static [Column] {
        match self {
            Self::Order => &ORDER,
            Self::Charge => &CHARGE,
            Self::Status => &STATUS,
            Self::Refund => &REFUND,
        }
    }

    /// What its name has after the order table's.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Order => "",
            Self::Charge => "_charge",
            Self::Status => "_status",
            Self::Refund => "_refund",
        }
    }

    /// The columns of its primary key.
    #[must_use]
    pub fn key(self) -> &'static [&'static str] {
        match self {
            Self::Order => &["purchaseOrderId", "lineNumber"],
            Self::Charge => &["purchaseOrderId", "lineNumber", "chargeNumber"],
            Self::Status => &["purchaseOrderId", "lineNumber", "statusNumber"],
            Self::Refund => &["purchaseOrderId", "lineNumber", "refundNumber"],
        }
    }
}

/// The contract's columns of `walmart_order`; `raw`, where it is kept, comes after them.
pub const CONTRACT: usize = 52;

const ORDER: [Column; CONTRACT + 1] = [
    c("purchaseOrderId", BigInt, "purchaseOrderId"),
    c("customerOrderId", BigInt, "customerOrderId"),
    c("customerEmailId", Varchar(100), "customerEmailId"),
    c("orderDate", BigInt, "orderDate"),
    c("orderDate_formatted", Timestamp, "orderDate"),
    c("shipNode_type", Varchar(50), "shipNode.type"),
    c("shipNode_name", Varchar(100), "shipNode.name"),
    c("shipNode_id", Varchar(50), "shipNode.id"),
    c(SOURCE_FILE, Varchar(100), ""),
    c("phone", Varchar(20), "shippingInfo.phone"),
    c("estimatedDeliveryDate", BigInt, "shippingInfo.estimatedDeliveryDate"),
    c("estimatedDeliveryDate_formatted", Timestamp, "shippingInfo.estimatedDeliveryDate"),
    c("estimatedShipDate", BigInt, "shippingInfo.estimatedShipDate"),
    c("estimatedShipDate_formatted", Timestamp, "shippingInfo.estimatedShipDate"),
    c("methodCode", Varchar(50), "shippingInfo.methodCode"),
    c("recipient_name", Varchar(100), "shippingInfo.postalAddress.name"),
    c("address1", Varchar(200), "shippingInfo.postalAddress.address1"),
    c("address2", Varchar(200), "shippingInfo.postalAddress.address2"),
    c("city", Varchar(100), "shippingInfo.postalAddress.city"),
    c("state", Varchar(50), "shippingInfo.postalAddress.state"),
    c("postalCode", Varchar(20), "shippingInfo.postalAddress.postalCode"),
    c("country", Varchar(10), "shippingInfo.postalAddress.country"),
    c("addressType", Varchar(20), "shippingInfo.postalAddress.addressType"),
    c("lineNumber", Int, "line.lineNumber"),
    c("sku", Varchar(50), "line.item.sku"),
    c("productName", Text, "line.item.productName"),
    c("product_condition", Varchar(50), "line.item.condition"),
    c("quantity", Int, "line.orderLineQuantity.amount"),
    c("unitOfMeasurement", Varchar(20), "line.orderLineQuantity.unitOfMeasurement"),
    c("statusDate", BigInt, "line.statusDate"),
    c("statusDate_formatted", Timestamp, "line.statusDate"),
    c("fulfillmentOption", Varchar(50), "line.fulfillment.fulfillmentOption"),
    c("shipMethod", Varchar(50), "line.fulfillment.shipMethod"),
    c("storeId", Varchar(50), "line.fulfillment.storeId"),
    c("shippingProgramType", Varchar(50), "line.fulfillment.shippingProgramType"),
    c("chargeType", Varchar(50), "charge.chargeType"),
    c("chargeName", Varchar(100), "charge.chargeName"),
    c("chargeAmount", Decimal, "charge.chargeAmount.amount"),
    c("currency", Varchar(10), "charge.chargeAmount.currency"),
    c("taxAmount", Decimal, "charge.tax.taxAmount.amount"),
    c("taxName", Varchar(50), "charge.tax.taxName"),
    c("orderLineStatus", Varchar(50), "status.status"),
    c("statusQuantity", Int, "status.statusQuantity.amount"),
    c("cancellationReason", Varchar(200), "status.cancellationReason"),
    c("shipDateTime", BigInt, "status.trackingInfo.shipDateTime"),
    c("shipDateTime_formatted", Timestamp, "status.trackingInfo.shipDateTime"),
    c("carrierName", Varchar(100), "status.trackingInfo.carrierName.carrier"),
    c("carrierMethodCode", Varchar(50), "status.trackingInfo.carrierMethodCode"),
    c("trackingNumber", Varchar(100), "status.trackingInfo.trackingNumber"),
    c("trackingURL", Varchar(500), "status.trackingInfo.trackingURL"),
    c("request_time", DateTime, "request_time"),
    c("load_time", DateTime, ""),
    c("raw", Json, ""),
];

pub(super) const SOURCE_FILE: &str = "source_file";

const ORDER_ID: Column = c("purchaseOrderId", BigInt, "");
const LINE_NUMBER: Column = c("lineNumber", Int, "");

/// Where the key of a child stands: order, line, place in the line.
pub(super) const CHILD_KEY: [usize; 3] = [0, 1, 2];

const CHARGE: [Column; 11] = [
    ORDER_ID,
    LINE_NUMBER,
    c("chargeNumber", Int, ""),
    c("chargeType", Varchar(50), "chargeType"),
    c("chargeName", Varchar(100), "chargeName"),
    c("chargeAmount", Decimal, "chargeAmount.amount"),
    c("currency", Varchar(10), "chargeAmount.currency"),
    c("taxName", Varchar(50), "tax.taxName"),
    c("taxAmount", Decimal, "tax.taxAmount.amount"),
    c("taxAndOtherFeesName", Varchar(50), "taxAndOtherFees.taxAndOtherFeesName"),
    c("taxAndOtherFeesAmount", Decimal, "taxAndOtherFees.taxAndOtherFeesAmount.amount"),
];

const STATUS: [Column; 15] = [
    ORDER_ID,
    LINE_NUMBER,
    c("statusNumber", Int, ""),
    c("status", Varchar(50), "status"),
    c("statusQuantity", Int, "statusQuantity.amount"),
    c("unitOfMeasurement", Varchar(20), "statusQuantity.unitOfMeasurement"),
    c("cancellationReason", Varchar(200), "cancellationReason"),
    c("subSellerId", Varchar(50), "subSellerId"),
    c("shipDateTime", BigInt, "trackingInfo.shipDateTime"),
    c("shipDateTime_formatted", Timestamp, "trackingInfo.shipDateTime"),
    c("carrierName", Varchar(100), "trackingInfo.carrierName.carrier"),
    c("carrierMethodCode", Varchar(50), "trackingInfo.carrierMethodCode"),
    c("methodCode", Varchar(50), "trackingInfo.methodCode"),
    c("trackingNumber", Varchar(100), "trackingInfo.trackingNumber"),
    c("trackingURL", Varchar(500), "trackingInfo.trackingURL"),
];

/// Stands in for a carrier that is null or empty.
pub(super) const OTHER_CARRIER: &str = "trackingInfo.carrierName.otherCarrier";
pub(super) const CARRIER: &str = "trackingInfo.carrierName.carrier";

/// `refund.` is what all charges of one refund share.
const REFUND: [Column; 12] = [
    ORDER_ID,
    LINE_NUMBER,
    c("refundNumber", Int, ""),
    c("refundId", Varchar(50), "refund.refundId"),
    c("refundComments", Varchar(500), "refund.refundComments"),
    c("refundReason", Varchar(100), "refundReason"),
    c("chargeType", Varchar(50), "charge.chargeType"),
    c("chargeName", Varchar(100), "charge.chargeName"),
    c("chargeAmount", Decimal, "charge.chargeAmount.amount"),
    c("currency", Varchar(10), "charge.chargeAmount.currency"),
    c("taxName", Varchar(50), "charge.tax.taxName"),
    c("taxAmount", Decimal, "charge.tax.taxAmount.amount"),
];
