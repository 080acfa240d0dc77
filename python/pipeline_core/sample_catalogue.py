"""Invented goods, people and places for `sample_data`; only the names of countries are real."""

from typing import NamedTuple


class Product(NamedTuple):
    """Something that is sold."""

    card: int
    name: str
    category: int
    category_name: str
    department: int
    department_name: str
    price: float


class Place(NamedTuple):
    """Where an order goes."""

    market: str
    region: str
    country: str
    state: str
    city: str
    zipcode: str = ""


class Town(NamedTuple):
    """Where a customer lives."""

    name: str
    state: str
    country: str
    zipcode: str
    latitude: float
    longitude: float


PRODUCTS = (
    Product(101, "Larkspur Two-Person Trail Tent", 41, "Camping & Hiking", 7, "Fan Shop", 299.98),
    Product(102, "Wickerby Folding Stove, Twin Burner", 41, "Camping & Hiking", 7, "Fan Shop", 89.95),
    Product(117, "Tidepool Inflatable Kayak 98", 48, "Water Sports", 7, "Fan Shop", 199.99),
    Product(118, "Tidepool Paddle Set, Carbon, 2 Pieces", 48, "Water Sports", 7, "Fan Shop", 74.5),
    Product(124, "Brackenfield Youth Life Vest", 46, "Indoor/Outdoor Games", 7, "Fan Shop", 49.98),
    Product(133, 'Ostler Garden Disc Target 24"', 46, "Indoor/Outdoor Games", 7, "Fan Shop", 129.99),
    Product(205, "Merrow Women's Merino Half-Zip", 24, "Women's Apparel", 4, "Apparel", 50.0),
    Product(206, "Merrow Women's Rain Shell", 24, "Women's Apparel", 4, "Apparel", 119.5),
    Product(219, "Hallam Men's Trail Runner VI", 18, "Men's Footwear", 4, "Apparel", 129.99),
    Product(220, "Hallam Men's Winter Boot, Lined", 18, "Men's Footwear", 4, "Apparel", 159.0),
    Product(231, "Pitchfield Moulded Cleat FG", 17, "Cleats", 3, "Footwear", 59.99),
    Product(232, "Pitchfield Junior Cleat", 17, "Cleats", 3, "Footwear", 34.99),
    Product(308, "Gullwing Balance Board", 9, "Cardio Equipment", 3, "Footwear", 99.99),
    Product(309, "Gullwing Rowing Trainer RX-4", 9, "Cardio Equipment", 3, "Footwear", 399.98),
    Product(340, "Fairlie Golf Balls, Dozen", 29, "Shop By Sport", 5, "Golf", 24.99),
    Product(341, "Fairlie Men's Dry-Touch Polo", 29, "Shop By Sport", 5, "Golf", 50.0),
    Product(352, "Kestrel Heart-Rate Watch", 38, "Electronics", 6, "Outdoors", 249.97),
    Product(353, "Kestrel Head Torch 400 lm", 38, "Electronics", 6, "Outdoors", 31.99),
    Product(366, "Stillwater Spinning Rod, 7 ft", 45, "Fishing", 6, "Outdoors", 69.95),
    Product(367, "Stillwater Tackle & Bait Locker", 45, "Fishing", 6, "Outdoors", 399.98),
)

PLACES = (
    Place("USCA", "West of USA ", "Estados Unidos", "California", "Port Alder", "90917.0"),
    Place("USCA", "East of USA", "Estados Unidos", "Nueva York", "Wexley Falls", "11988.0"),
    Place("USCA", "South of  USA ", "Estados Unidos", "Texas", "Juniper Creek", "77981.0"),
    Place("USCA", "Canada", "Canadá", "Ontario", "Maple Narrows"),
    Place("LATAM", "Central America", "México", "Valle de Cóndores", "San Tadeo del Río"),
    Place("LATAM", "Central America", "Honduras", "La Arboleda", "Villa Ceniza"),
    Place("LATAM", "Central America", "Panamá", "Costa Clara", "Puerto Ñandú"),
    Place("LATAM", "South America", "Brasil", "Serra Dourada", "São Telmo da Conceição"),
    Place("LATAM", "South America", "Brasil", "Mata Verde", "Porto do Açude"),
    Place("LATAM", "South America", "Colombia", "Altamira", "Montebelló"),
    Place("LATAM", "Caribbean", "República Dominicana", "El Manantial", "Los Almendros"),
    Place("Europe", "Western Europe", "Francia", "Valmoré", "Saint-Éloi-sur-Orne"),
    Place("Europe", "Western Europe", "Alemania", "Grünmark", "Oberstößlingen"),
    Place("Europe", "Northern Europe", "Reino Unido", "Inglaterra", "Thornwick Bay"),
    Place("Europe", "Northern Europe", "Suecia", "Norrvik", "Ängsholmen"),
    Place("Europe", "Southern Europe", "España", "Sierra Umbría", "Peñalosa de Ávrega"),
    Place("Europe", "Southern Europe", "Italia", "Colle Lungo", "Fontechiara"),
    Place("Pacific Asia", "Oceania", "Australia", "Southern Reach", "Wattle Point"),
    Place("Pacific Asia", "Southeast Asia", "Filipinas", "Dalampasig", "Maligaya Cove"),
    Place("Pacific Asia", "Eastern Asia", "China", "Qinghe", "Lanshui"),
    Place("Pacific Asia", "South Asia", "India", "Suvarnapura", "Meghnagar"),
    Place("Africa", "North Africa", "Marruecos", "Atlas Bajo", "Aïn Zitoun"),
    Place("Africa", "Southern Africa", "Sudáfrica", "Goudkus", "Kliprivier Drift"),
    Place("Africa", "West Africa", "Nigeria", "Obanla", "Iremide"),
)

TOWNS = (
    Town("Caobilla", "PR", "Puerto Rico", "725.0", 18.2316, -66.3706),
    Town("Los Jobos", "PR", "Puerto Rico", "795.0", 18.0391, -66.5102),
    Town("Peñuelillas", "PR", "Puerto Rico", "624.0", 18.0573, -66.7214),
    Town("Alder Heights", "CA", "EE. UU.", "90931.0", 34.0522, -118.2437),
    Town("Wexley", "NY", "EE. UU.", "11982.0", 40.6782, -73.9442),
    Town("Stonebridge Park", "IL", "EE. UU.", "60697.0", 41.8781, -87.6298),
    Town("Juniper Flats", "TX", "EE. UU.", "78995.0", 29.4241, -98.4936),
    Town("Cypress Landing", "FL", "EE. UU.", "33991.0", 26.0984, -80.1823),
    Town("Rook Harbor", "WA", "EE. UU.", "98996.0", 47.6062, -122.3321),
    Town("Millrace", "OH", "EE. UU.", "44992.0", 41.4993, -81.6944),
)

FIRST_NAMES = (
    "Ada", "Bruno", "Carla", "Dexter", "Edith", "Felix", "Greta", "Hugo", "Iris", "Jonas", "Keira", "Leo", "Mary",
    "Nadia", "Oscar", "Petra", "Quentin", "Rosa", "Simon", "Tessa", "Victor", "Wilma", "Yusuf", "Zelda",
    "Inês", "João", "Chloé", "Jürgen", "Nuño", "Zoë", "Gonçalo", "Begoña",
)  # fmt: skip

LAST_NAMES = (
    "Ashdown", "Birchall", "Crane", "Dunmore", "Ellery", "Fenwick", "Garside", "Holloway", "Ingleby", "Jessop",
    "Kettering", "Lockhart", "Marlowe", "Norcross", "Oakes", "Penrose", "Quillan", "Ravensby", "Smith", "Thackeray",
    "Underhill", "Vance", "Whitlock", "Yardley",
    "Peñarrubia", "Conceição", "Müllner", "Lefèvre", "Núñez", "Strömdahl", "d'Avézac", "Brandão",
)  # fmt: skip

STREET_FIRST = (
    "Amber",
    "Broken",
    "Cinder",
    "Dusty",
    "Early",
    "Foggy",
    "Golden",
    "Hidden",
    "Lazy",
    "Misty",
    "Quiet",
    "Rustic",
)
STREET_SECOND = (
    "Acorn",
    "Badger",
    "Cedar",
    "Daisy",
    "Elk",
    "Falcon",
    "Grove",
    "Heron",
    "Lantern",
    "Otter",
    "Pine",
    "Willow",
)
STREET_THIRD = ("Avenue", "Bend", "Circle", "Gate", "Lane", "Mews", "Parade", "Ridge, Apt {}", "Terrace", "Way")
