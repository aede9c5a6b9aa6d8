"""Names for generated people and places, written for this purpose; nobody real is meant.

They are as various as names in schools are: with accents, apostrophes, blanks and hyphens, very
short ones, and some that careless programs take for something else (`Null`, `Na`, `True`).
"""

from __future__ import annotations

from typing import Final

GIVEN: Final = tuple(
    """
    Aaliyah Aaron Abigail Adaeze Adam Aditi Adriana Agnieszka Ahmed Aiko Aisha Alejandro Alexander Alice
    Alina Amara Amelia Amina Amir Ana Anders Andrea Aneesa Angus Anika Anjali Anna Antonio Anya Aroha
    Arjun Arthur Asha Astrid Ava Ayaan Ayesha Aylin Beatriz Ben Bianca Björn Bronwyn Caleb Camila Carlos
    Carmen Caroline Catarina Cedric Chen Chiara Chidi Chloé Christopher Ciarán Clara Connor Daan Daisuke
    Dalia Daniel Daria David Deepak Diego Dilnoza Dmitri Dylan Ebony Eduardo Eero Eilidh Elena Eleni Eli
    Elif Elijah Elin Eliza Ella Emeka Emil Emily Emma Enzo Erik Esther Ethan Eva Ezra Fatima Federico
    Felix Fernanda Fiadh Finn Fiona Francesca Frederik Freya Gabriel Gemma George Gianna Giulia Grace
    Grzegorz Gustavo Hamza Hana Hannah Harper Harriet Hassan Hemi Henry Hiroshi Hugo Ibrahim Ida Ifeoma
    Ilse Imani Indira Ines Ingrid Irina Isaac Isabella Isla Ismail Iva Ivan Jack Jada Jakub James Jamila
    Jasmine Jasper Javier Jelena Jia Jin João Joanna Johan Jonah José Josephine Joshua Juan Julia Kai
    Kamala Karim Karolina Kateryna Katarzyna Kavya Keisha Kemal Kenji Kerstin Khadija Kiara Kiran Kofi
    Kwame Lachlan Laila Lars Laura Layla Leah Leilani Leo Li Liam Lina Logan Luca Lucía Lucy Luka Luna
    Madeleine Mahmoud Maia Malik Manaia Marcus Margot Maria Marisol Marta Mateo Matilda Mei Mercy Mia
    Michał Miguel Mila Mina Ming Miriam Mohammed Mona Nadia Naomi Natalia Nathan Nia Niamh Nikhil
    Nikolai Nils Nina Noah Noor Nora Nuria Obinna Odette Olga Olivia Omar Oscar Owen Paige Pania Paolo
    Patrick Pedro Petra Phoebe Piotr Priya Quentin Quinn Rachel Rafael Rania Ravi Rawiri Rebecca Renata
    Rohan Rosa Ruby Ruth Ryo Saanvi Salma Samira Samuel Santiago Saoirse Sara Sebastian Selin Seo-yeon
    Sergio Shira Siddharth Sienna Simone Sina Sofia Sören Stella Sunita Svetlana Tāne Tanvi Tariq
    Tatiana Teodor Thandiwe Theo Thiago Thomas Tia Tomás Uma Valentina Vera Viktor Vivian Wei William
    Wren Xavier Ximena Yara Yasmin Yelena Yuki Yusuf Zahra Zainab Zane Zara Zoë
    """.split()  # noqa: SIM905 - hundreds of words read best as words
)

FAMILY_NAMES: Final = (
    *"""
        Nguyen Smith Garcia Patel Kim Martinez Johnson Singh Chen Williams Khan Rodriguez Brown Ali
        Jones Lee Hernandez Tran Davis Lopez Wang Ahmed Miller Gonzalez Wilson Li Hussain Perez Anderson
        Kaur Thomas Taylor Sanchez Moore Zhang Jackson Sharma Martin Ramirez White Torres Thompson Begum
        Flores Harris Rivera Clark Lewis Robinson Walker Young Allen King Wright Scott Hill Green Adams
        Baker Hall Campbell Mitchell Carter Roberts Phillips Evans Turner Diaz Parker Cruz Edwards
        Collins Reyes Stewart Morris Morales Murphy Cook Rogers Gutierrez Ortiz Morgan Cooper Peterson
        Bailey Reed Kelly Howard Ramos Ward Cox Richardson Watson Brooks Chavez Wood James Bennett Gray
        Mendoza Ruiz Hughes Price Alvarez Castillo Sanders Myers Long Ross Foster Jimenez Abbasi Abdi
        Achterberg Adebayo Adeyemi Agarwal Aguilar Akhtar Andersson Antonopoulos Appiah Arslan Asante
        Bakker Banerjee Bauer Becker Bergström Bianchi Boateng Bondarenko Boucher Bózsik Çelik Chaudhry
        Chowdhury Costa Couto Dąbrowski Demir Desai Dlamini Dubois Eriksson Esposito Farah Fernandes
        Ferrari Fischer Fonseca Fraser Friedman Fujita Gallagher Ghosh Goldberg Gomes Grigoryan Gupta
        Haddad Hakimi Hansen Hashimoto Hoang Hoffmann Horvat Ibrahimović Ihaka Inoue Ivanova Iyer Jansen
        Jansson Jovanović Jung Kamau Kapoor Kato Kawakami Keita Kowalczyk Kowalski Kozlova Kruger Kumar
        Lachance Larsen Laurent Lindqvist MacDonald Mahlangu Mancini Marković Mbeki McAllister McCarthy
        Mehta Mensah Meyer Mohamud Moreau Mori Müller Murray Mwangi Nakamura Naidoo Ndiaye Ngata Nielsen
        Novak Nowak Núñez Nyström Oduya Okafor Okonkwo Oliveira Olsen Osei Öztürk Papadopoulos Park
        Paszek Pereira Petrov Pham Popescu Prasad Qureshi Rahman Rangi Rao Reddy Ribeiro Richter Romano
        Rosen Rossi Roux Sato Schneider Schwarz Seck Sesay Shapiro Shevchenko Silva Sithole Sokolov
        Sørensen Souza Suzuki Szabó Tamihana Tanaka Teixeira Thapa Toure Tsang Türk Uddin Usman Vainio
        Varga Vargas Vasquez Vella Verma Virtanen Volkov Wagner Wanjiru Watanabe Weber Wójcik Wong Wu Xu
        Yamamoto Yang Yıldız Yilmaz Yoon Zając Zapata Zhao Zhou Zimmermann Zulu
        """.split(),  # noqa: SIM905 - as above
    "O'Brien",
    "O'Connor",
    "D'Angelo",
    "N'Diaye",
    "de la Cruz",
    "van der Berg",
    "von Arnim",
    "al-Masri",
    "Te Rangi",
    "Smith-Jones",
    "García Márquez",
    "Null",
    "Na",
    "True",
    "Ng",
    "Oh",
)

PLACES: Final = tuple(
    """
    Alder Ash Aspen Bay Beacon Birch Bluff Bridge Brook Canyon Cedar Cherry Clear Clover Copper Cove
    Crane Creek Cypress Dale Eagle Eastern Elder Elm Fairview Falcon Falls Fern Forest Garden Glen
    Granite Grove Harbour Hawthorn Hazel Heath Heron Highland Hill Hollow Iris Ivy Juniper Kestrel Lake
    Larch Laurel Lincoln Linden Magnolia Maple Meadow Mesa Mill Moss Mountain Northern Oak Ocean Orchard
    Osprey Park Pine Pioneer Plains Pond Poplar Prairie Quarry Quarter Redwood Ridge River Rock Rowan
    Sable Sage Shore Silver Southern Spring Spruce Station Stone Summit Sunset Swan Sycamore Terrace
    Thistle Timber Union Vale Valley Violet Walnut Western Willow Wood
    """.split()  # noqa: SIM905 - hundreds of words read best as words
)

DISTRICTS: Final = (
    *("Riverbend", "Larkspur", "Stonebridge", "Maplewood", "Harrowgate", "Kingsferry", "Wattle Creek"),
    *("Otterburn", "Fernhollow", "Cobbler Bay", "Saltmarsh", "Tawa Heights"),
)
