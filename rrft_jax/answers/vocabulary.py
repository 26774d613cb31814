"""The words that the parser of statements knows. A statement with any other word is not understood and earns 0."""

ENGLISH = """
a an the this that these those it its there here my our their his her your i we you he she they
is are was were be been being am has have had do does did will would must can
"""

ADJECTIVES = frozenset(
    """red blue green yellow purple cyan gray grey brown orange pink black white gold golden big large small tiny little
    medium metal metallic rubber matte shiny glass wooden""".split()
)

# Words that may stand before the answer, in any order: "So the total number of red cubes in the image is".
BEFORE = (
    frozenset(
        f"""{ENGLISH}
    ans output approx circa ca if remove subtract add take away shows contains includes depicts
    so therefore thus hence then finally now overall altogether okay ok well sure
    final correct right true exact actual overall only just exactly precisely approximately about roughly around
    answer answers result results solution value total sum count number amount quantity difference product quotient
    ratio option choice letter response conclusion
    of in to on at for from with by after before as when which where and
    length width height depth area perimeter volume circumference radius diameter measure size angle side sides segment
    cost price percentage average mean mode limit speed velocity time rate mass weight age distance profit remainder
    energy force pressure density temperature shaded region between
    line chord arc triangle circle square rectangle parallelogram trapezoid quadrilateral polygon rhombus hypotenuse
    base surface slope median edge edges face faces vertex vertices degree degrees probability
    image picture photo figure diagram scene shown given question problem statement expression equation
    object objects thing things item items shape shapes cube cubes ball balls sphere spheres cylinder cylinders block
    blocks vehicle vehicles car cars bus buses bike bikes bicycle bicycles motorbike motorbikes airplane airplanes plane
    planes truck trucks people animals color colour material
    left remain remaining remains visible present different all every each
    see find get obtain count counted found think believe say choose pick select conclude know
    removing subtracting adding removed subtracted added best
    point points coordinate coordinates intersection midpoint origin center centre vertex function
    equal equals becomes gives yields makes leaves means
    bonne correcte correcta correcto richtige
    die der das ist sind es gibt antwort lösung ergebnis richtige lautet beträgt anzahl objekte insgesamt also
    la le les est il y a réponse résultat nombre objets donc sont
    el los las es hay respuesta resultado número objetos son
    resposta resultado é há risposta è ci sono ответ
    """.split()
    )
    | ADJECTIVES
)
# The last of them, right before the answer: what lets the answer follow.
LEADS = frozenset(
    """is are be was were equals equal has have get find obtain see count counted found gives yields makes leaves
    answer answers result total sum so therefore thus hence only just exactly precisely approximately about roughly
    around option choice letter choose pick select say and then finally overall means becomes conclude think believe
    ans approx circa ca shows contains includes depicts output
    insgesamt ist sind gibt antwort lautet beträgt est réponse es son hay respuesta resposta é há è sono risposta lösung
    ответ""".split()
)
# Words that a name may stand behind: "the length of AB is", "angle ABC is".
NAMED = frozenset(
    """of side sides segment line chord arc triangle circle square rectangle parallelogram quadrilateral angle edge
    radius diameter length median base""".split()
)
# Nouns that a name with its value may follow: "the radius r = 4", "the line y = 2x + 1".
HAS_NAME = (NAMED - {"of"}) | frozenset(
    """equation function area volume perimeter circumference height width depth hypotenuse slope distance probability
    value sum solution""".split()
)
POINTS = frozenset("point points coordinate coordinates vertex center centre midpoint intersection origin".split())
COPULAS = frozenset("is are equals equal was be".split())
OF = frozenset({"total", "count"})  # "a total of 4": other words before "of" make something else of it
# Words that may stand behind the answer and its unit or noun.
BEHIND = (
    frozenset(
        f"""{ENGLISH}
    in on at of from total all altogether overall left remain remains remaining exist exists visible present shown
    image picture photo figure diagram scene table ground answer final correct right exactly precisely approximately
    after if subtracting removing taking away adding
    approx angle long wide high tall old object objects item items thing things them seen found counted which
    """.split()
    )
    | ADJECTIVES
)

# Nouns whose plural has no s, or that look like something else; and foreign ones.
NOUNS = frozenset(
    """people persons men women children kids fish sheep deer mice geese teeth dice aircraft pieces
    objects things items shapes cubes balls spheres cylinders blocks moths paths baths cloths mouths
    objekte gegenstände dinge würfel kugeln zylinder stück bälle äpfel bilder kreise dreiecke quadrate
    object thing item shape cube ball sphere cylinder block circle triangle square apple dog cat car
    oggetti cubi sfere cilindri cose предметов предмета кубов объектов объекта""".split()
)
# Words in -s, and others, that say how much or how often: behind a number they change it.
QUANTITIES = frozenset(
    """thousands hundreds tens dozens scores grosses pairs couples times halves thirds quarters fourths fifths sixths
    sevenths eighths ninths tenths elevenths twelfths hundredths thousandths millionths percents percentages lots loads
    multiples plus minus less unless others yes was has is does its his hers ours yours theirs this perhaps besides
    always sometimes versus vs ones twos threes fours fives sixes sevens eights nines zeros powers lakhs crores grands
    reams fois paires moins sans centaines dizaines douzaines milliers tiers quarts demis menos más trios triples
    triplets doubles quads squares-of roots logs exponents maybes possibilities wrongs as us across towards afterwards
    whereas thus plus-or-minus twice thrice myriads googols octets decades centuries fold folds grand gross score dozen
    pair couple half third quarter fifth tenth hundred thousand lakh crore percent percentage times squared cubed
    not no nor neither either or but except without maybe probably possibly wrong incorrect false never none nothing
    minus over under above below more fewer most least between than other another per upper lower max min maximum
    tausend hundert million millionen milliarde milliarden dutzend paar mal mille mil millones mila cientos docenas
    docena decenas veces dozzine volte minimum factorial mod choose with to for by after before when where while until
    since because then so if once off out basis percentile
    """.split()
)
SCALES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
    "百": 100, "千": 1000, "万": 10**4, "亿": 10**8,
}  # fmt: skip
CARDINALS = {
    word: value
    for value, words in enumerate(
        """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
        seventeen eighteen nineteen twenty""".split()
    )
    for word in (words,)
} | {word: 10 * (value + 3) for value, word in enumerate("thirty forty fifty sixty seventy eighty ninety".split())} | {
    word: value for value, word in enumerate("零一二三四五六七八九十")
}  # fmt: skip

# Chinese, Japanese and Korean write no spaces: phrases, any number of them in a row.
BEFORE_CJK = (
    "解 正确 最终 答案 回答 结果 结论 选项 选择 应选 应该 应 选 選 我 答 是 为 等于 约为 约等于 大约 大概 约 总共 一共 "
    "总计 共计 共 总数 总和 图中 图片中 图像中 画面中 场景中 还 剩下 剩余 剩 所以 因此 故 则 得 即 有 数量 个数 物体 "
    "的 面积 周长 长度 体积 半径 直径 角度 角 度数 值 長さ 答え 正解 は 정답 은 는 "
    "還 剩餘 總共 圖中 共有"
).split()
BEHIND_CJK = (
    "个 個 件 只 隻 条 张 枚 块 颗 辆 輛 張 條 顆 塊 人 名 位 学生 同学 个人 本 支 台 匹 つ 개 物体 物件 东西 对象 "
    "球 球体 立方体 圆柱 圆柱体 方块 "
    "红色 蓝色 绿色 黄色 紫色 青色 灰色 棕色 金属 橡胶 大 小 的 です 입니다 다 图形 三角形 正方形 圆 圆形 苹果 汽车 车"
).split()
