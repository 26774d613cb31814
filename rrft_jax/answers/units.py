"""Units of measure by their names: cm, centimeters, 厘米 are one unit, m and cm are two (nothing is converted)."""

from collections.abc import Mapping
from types import MappingProxyType

_NAMES = {
    "mm": "millimeter millimetre millimeters millimetres millimeter 毫米 mms",
    "cm": "centimeter centimetre centimeters centimetres zentimeter centimètre centimètres centímetro centímetros "
    "厘米 公分 センチ センチメートル cms см",
    "dm": "decimeter decimetre decimeters decimetres 分米",
    "m": "meter metre meters metres mètre mètres metro metros 米 メートル м",
    "km": "kilometer kilometre kilometers kilometres kilomètre kilomètres kilómetros 千米 公里 kms",
    "in": "inch inches 英寸",
    "ft": "foot feet 英尺",
    "yd": "yard yards",
    "mi": "mile miles 英里",
    "nm": "nanometer nanometers nanometre nanometres 纳米",
    "μm": "µm micrometer micrometers micron microns 微米",
    "nmi": "",
    "°": "degree degrees deg degs grad degré degrés grado grados graus 度",
    "rad": "radian radians rads 弧度",
    "°C": "℃ celsius 摄氏度",
    "°F": "℉ fahrenheit 华氏度",
    "s": "sec secs second seconds sekunde sekunden seconde secondes segundos 秒 秒钟",
    "ms": "millisecond milliseconds 毫秒",
    "min": "mins minute minutes minuten minutos 分钟",
    "h": "hr hrs hour hours stunde stunden heure heures horas 小时",
    "day": "days tag tage jour jours días 天 日",
    "week": "weeks 周 星期",
    "month": "months 月 个月",
    "year": "years yr yrs jahre ans años 年 岁",
    "g": "gram grams gramme grammes gramm 克",
    "mg": "milligram milligrams 毫克",
    "kg": "kilogram kilograms kgs kilogramm 千克 公斤",
    "lb": "lbs",
    "oz": "ounce ounces",
    "ton": "tons tonne tonnes 吨",
    "L": "l liter liters litre litres 升",
    "mL": "ml milliliter milliliters millilitre millilitres 毫升",
    "cc": "",
    "gal": "gallon gallons",
    "acre": "acres",
    "ha": "hectare hectares 公顷",
    "unit": "units einheit einheiten unité unités unidades 单位",
    "mph": "",
    "kph": "kmh",
    "Hz": "hz hertz 赫兹",
    "kHz": "",
    "N": "newton newtons 牛 牛顿",
    "kN": "",
    "J": "joule joules 焦耳",
    "kJ": "",
    "W": "watt watts 瓦",
    "kW": "",
    "V": "volt volts 伏",
    "Pa": "pascal pascals",
    "kPa": "",
    "mol": "mole moles",
    "ampere": "amp amps amperes 安培",
    "kelvin": "kelvins 开尔文",
    "eV": "",
    "cal": "calorie calories",
    "kcal": "kilocalorie kilocalories 千卡",
    "rpm": "",
    "Ω": "ohm ohms 欧",
    "$": "dollar dollars usd 美元 us$",
    "€": "euro euros eur 欧元",
    "£": "gbp",
    "¥": "￥ yuan rmb cny 元 块 块钱 人民币",
    "yen": "jpy 円 日元",
    "₹": "rupee rupees inr",
    "₩": "won krw",
    "cent": "cents ¢",
}

# What a name means: {unit: exponent}, as pairs. Spelled exactly, for M is no metre and Mg no milligram.
UNITS: Mapping[str, str] = MappingProxyType(
    {name: unit for unit, names in _NAMES.items() for name in (unit, *names.split())}
)
# Single letters that are variables as readily: units only right behind a number.
LETTERS = frozenset("mgshLlNJWV")
SPACED_LETTERS = frozenset("LlNJWV")  # and these only with a space before them: "4 N"
CURRENCY = frozenset("$€£¥₹₩")
# Before a unit: "square cm", "cubic meters".
POWERS: Mapping[str, int] = MappingProxyType(
    {"square": 2, "sq": 2, "cubic": 3, "cu": 3, "quadrat": 2, "kubik": 3}
)  # fmt: skip
# Behind one: "cm squared", "mètres carrés".
POWERS_BEHIND: Mapping[str, int] = MappingProxyType(
    {"squared": 2, "cubed": 3, "sq": 2, "carrés": 2, "carré": 2, "cubes": 3, "cuadrados": 2, "cúbicos": 3}
)
CHINESE_POWERS: Mapping[str, int] = MappingProxyType({"平方": 2, "立方": 3})


def unit_of(word: str) -> tuple[str, int] | None:
    """The unit that a word names and its exponent, ("cm", 2) for 平方厘米; None for another word."""
    unit = UNITS.get(word) or (UNITS.get(word.lower()) if len(word) > 2 else None)
    if unit:
        return unit, 1
    for prefix, power in CHINESE_POWERS.items():
        if word.startswith(prefix) and word[2:] in UNITS:
            return UNITS[word[2:]], power
    return None
